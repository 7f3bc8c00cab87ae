"""One file per verb: labelled in, labelled out."""
