"""What the scripts that compare flashtune with torch share: the library by ctypes, and how time is taken."""
