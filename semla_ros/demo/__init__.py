"""The demo: a rendered drive through changing weather, segmented by the live node, scored and reported."""
