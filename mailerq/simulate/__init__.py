"""The simulator: a policy is tried before it meets real hosts.

``Simulation(settings, mix, seed)`` runs the engine's own parts over a simulated clock; see ``docs/simulator.md``.
"""
