"""Adds images: tasks whose examples are images, and encoders that give features of them."""
