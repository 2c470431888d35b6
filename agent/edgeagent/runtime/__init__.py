"""The container engine: one door to its API, and what the agent does with containers, images and networks."""
