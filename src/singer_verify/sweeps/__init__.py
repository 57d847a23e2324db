"""Sweeps: many trainings that one command asks for, each in a folder of its own inside the sweep's.

runs/<name>/
    sweep.json        the jobs of the last call, how many at a time, the process that leads
    multirun.yaml     Hydra's own record of the command
    <overrides>/      the run folder of a job, named after what was typed or swept for it
        job.lock      held while a process trains the job
        failure.json  why it failed, until it is tried again
"""
