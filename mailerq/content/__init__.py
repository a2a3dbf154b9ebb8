"""What is done to a message between its job and the DATA command.

``step.py`` says what a content step is, ``chain.py`` which there are and in which order they come, ``contents.py``
makes the message of one mail: body fetched, what it needs downloaded, steps taken. Jobs that ask for nothing never come
here.
"""
