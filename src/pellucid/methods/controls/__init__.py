"""Maps that know nothing of the model: what every explanation has to beat."""
