"""Run folders: what a training leaves behind, and how a model is found in it again.

runs/<name>/
    config.yaml  overrides.yaml   the resolved configuration, and what was typed
    .hydra/                       Hydra's own record of the last call: its config, overrides and hydra settings
    run.json                      versions of the packages, git commit, command, time of start, process; the parent;
                                  each continuation
    checkpoints/best.ckpt         the model with the best monitored metric
    checkpoints/last.ckpt         where the training stands: it continues from here exactly
    saved_model.pt                the best model under the keys of earlier singer encoders
    scoring.npz                   how the best model is scored, where `singer-verify calibrate` fitted it
    failure.json                  why this job of a sweep failed, until it is tried again
    metrics.json                  figures untrained, best and final; steps, seconds, why it stopped
    train.log, events.out.*       the log, and TensorBoard's events
    <name>/                       a run that began with this one's weights, and so on
"""
