"""Tools in the forms that other libraries want. Each module imports its library on use."""
