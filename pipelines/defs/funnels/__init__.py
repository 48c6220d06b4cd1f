"""Funnels: how far shoppers get."""
