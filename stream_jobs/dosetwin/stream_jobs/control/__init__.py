"""The control app: enrolment, alert and command life cycles, silence and adherence.

`state` folds the topics, the modules beside it say what should be on them and is not, `follower` reads,
`worker` is the Faust app that acts.
"""
