"""Every setting once: what there is, what somebody asked for, and how a change is told."""
