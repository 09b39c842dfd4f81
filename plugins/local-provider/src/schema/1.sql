-- Documents keep a rowid, because an update then touches one page.
CREATE TABLE document (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created TEXT NOT NULL,
    updated TEXT NOT NULL,
    labels TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

CREATE TABLE stream (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- The id is the stream's, shifted left by 32 bits, plus the sequence number: one tree, and appending is at its edge.
CREATE TABLE entry (id INTEGER PRIMARY KEY, entry TEXT NOT NULL) STRICT;

CREATE TABLE reservation (stream TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE blob (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, data BLOB NOT NULL) STRICT;

CREATE TABLE blob_owner (
    owner TEXT NOT NULL,
    blob INTEGER NOT NULL REFERENCES blob (id),
    PRIMARY KEY (owner, blob)
) STRICT, WITHOUT ROWID;

CREATE INDEX blob_owner_of ON blob_owner (blob);
