"""The workload service: keys, certificates and the workload API of every module, in a process of its own.

It outlives the agent, so that modules get their tokens and certificates while the agent restarts or is
replaced (agent spec 7 and 11).
"""
