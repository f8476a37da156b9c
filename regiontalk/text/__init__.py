"""Words: tokens, vocabularies, word vectors."""
