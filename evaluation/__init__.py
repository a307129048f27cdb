"""How good a model is, in figures that no judge has to be believed for."""
