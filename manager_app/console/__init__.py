"""The console: Django's admin as the place where people see the cluster and steer it.

Pages are views of selectors; actions call the services that the API calls. Nothing below imports
this package.

A page: a function in a module of `pages/` under the decorator `page` (`page.py`), which says its
title, its template and what it needs; it returns the template's variables. The template extends
`base`, which is `console/page.html`, or for a refresh of the live part alone `console/live.html`.
A line in `urls.py` gives it its path, one in `navigation.py` its place in the sidebar.

An action: a class in the page's module that derives from `Action` (`actions.py`) and says what it
needs, what it will do and how; a line in `urls.py` gives it its path. A template shows its button
with `{% action "console:broker_drain" broker_id=3 %}`, to those alone that may.
"""
