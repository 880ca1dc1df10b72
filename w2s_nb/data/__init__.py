"""From a raw row to disjoint splits of a task."""
