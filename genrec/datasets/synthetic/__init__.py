"""The showroom: items, images and histories that are generated."""
