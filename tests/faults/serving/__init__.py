"""What goes wrong with the components that serve models, one module a component: `FAULTS`, a tuple."""
