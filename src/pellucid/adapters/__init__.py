"""Models of every framework behind one small boundary."""
