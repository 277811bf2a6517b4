"""`tailrace load`: puts the generator (`load`) and the numbers (`analysis`) together; neither knows the other.

`command` reads the arguments, and is all that a help text needs; `measurement` does the work. `document` is imported
after the traffic is over, because it brings pandas.
"""
