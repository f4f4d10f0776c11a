"""The demo: a robot's drive through changing weather, live, scored and reported."""
