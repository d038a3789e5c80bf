"""A real network and real photos, shipped with the package; importing this loads NumPy only."""
