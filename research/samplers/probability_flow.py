"""The probability-flow ODE (Song et al. 2021, eq. 13) by an adaptive solver: research.samplers.diffrax by its maths."""

from research.samplers.diffrax import sample as sample
