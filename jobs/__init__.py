"""What joins converters, storage and catalog, for one product or a hundred thousand."""
