"""Tests of the console in a real browser (Debian's Chromium) before real processes.

A file's tests take `visit` (somebody's browser, already logged in) and `cluster`. Whatever the page
says in the browser's console, and whatever it asks another host for, fails the test by itself. A
new page belongs into `PAGES` of `test_pages.py`, which looks at each for accessibility.
"""
