"""Pages to look at runs with: ``report.html`` of a run and of several, each a file by itself.

What a page shows is gathered and computed here, in Python; ``templates/`` only lays it out, and
``assets/`` has the style, a library of charts and the little script that joins it to the page.
Everything that a run folder holds may come from a stranger: it is data here, and escaped there.
Nothing here trains, and no page asks a network for anything.
"""
