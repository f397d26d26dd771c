"""A broker's own pages: what Raft thinks, read only; nobody above imports this but the URLs.

`facts` reads the engine in its loop, a page at a time; `pages` asks for it there, and has a thread
make the page. Start with `pages`.
"""
