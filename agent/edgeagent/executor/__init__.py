"""Carries out steps: chains of different modules beside each other, each with its own failures."""
