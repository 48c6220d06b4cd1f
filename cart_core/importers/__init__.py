"""Foreign formats read as events, or as what shoppers did; one file per format, and none of them knows a store.

``sources`` lists the formats and what each promises; ``cart_core.ingest`` brings what they read into a store.
"""
