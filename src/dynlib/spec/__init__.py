"""What a model is: language, checks, frozen `Model`, locations, presets, mods, structure hash."""
