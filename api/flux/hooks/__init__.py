"""Every extension point there is: one file for each extensible part."""
