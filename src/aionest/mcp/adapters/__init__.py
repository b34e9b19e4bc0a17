"""Tools in the forms that other libraries want. Each module imports its library on use, and none is needed to import it."""
