"""Files: what they are, how their bytes are sealed, who may fetch them."""
