"""Find the files of fMRIPrep, and name the files of NiDecomp."""
