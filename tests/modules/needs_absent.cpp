int absent();
int needs_absent() { return absent(); }
