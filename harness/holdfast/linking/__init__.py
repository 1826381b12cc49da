"""The link between the models and the exchange: paths of one are paths of the other."""
