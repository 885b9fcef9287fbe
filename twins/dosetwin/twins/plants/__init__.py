"""Virtual patients: the plants that the synthetic fleet simulates.

Each plant is structurally different from the twin's model of the same therapy, so that the closed loop is
never tested against itself. A plant is three pure functions over a struct of arrays, one column a patient:
`sample_population(key, n)`, `initial(parameters)`, `step(parameters, state, inputs, dt_min)`.
"""
