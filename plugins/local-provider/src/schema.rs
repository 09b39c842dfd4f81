//! The tables, and how a store of an earlier version gets the tables of this one.
//!
//! A migration is never changed after it was released; a new one is added below. There is no way back: a store of
//! a newer version is refused and left as it is.

use rusqlite::{Connection, OptionalExtension as _};

use crate::error::StoreError;

/// Marks the file as ours ("MESH").
const APPLICATION: i32 = 0x4d45_5348;

/// Each of these takes the schema one version further.
pub const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql")];

/// Brings the store to the latest version and returns that.
pub fn migrate(conn: &mut Connection, migrations: &[&str]) -> Result<u32, StoreError> {
    let found = version(conn)?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (number, migration) in (1..).zip(migrations).skip(found as usize) {
        let transaction = conn.transaction()?;
        if number == 1 {
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.execute_batch(
                "CREATE TABLE schema (version INTEGER NOT NULL, applied TEXT NOT NULL) STRICT",
            )?;
        }
        transaction.execute_batch(migration)?;
        transaction.execute(
            "INSERT INTO schema (version, applied) VALUES (?1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
            [number],
        )?;
        transaction.commit()?;
    }
    Ok(known)
}

/// The version of a store that is not to be changed; an error when it is newer, or there is none.
pub fn known_version(conn: &Connection) -> Result<u32, StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    match version(conn)? {
        0 => Err(StoreError::Corrupt("there is no table in meshery.db".into())),
        found if found > known => Err(StoreError::Newer { found, known }),
        found => Ok(found),
    }
}

/// The version of the store, 0 when it is new.
fn version(conn: &Connection) -> Result<u32, StoreError> {
    let tables: u32 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(0);
    }
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION {
        return Err(StoreError::Corrupt(
            "meshery.db is a database of another program".into(),
        ));
    }
    let version: Option<u32> = conn
        .query_row("SELECT max(version) FROM schema", [], |row| row.get(0))
        .optional()?
        .flatten();
    version.ok_or_else(|| StoreError::Corrupt("meshery.db does not say its schema's version".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_store_is_taken_through_each_later_version_and_keeps_its_rows() {
        let mut conn = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE t (a INTEGER)";
        assert_eq!(migrate(&mut conn, &[first]).unwrap(), 1);
        conn.execute("INSERT INTO t VALUES (7)", []).unwrap();
        let all = [
            first,
            "ALTER TABLE t ADD COLUMN b INTEGER",
            "UPDATE t SET b = a * 2",
        ];
        assert_eq!(migrate(&mut conn, &all).unwrap(), 3);
        assert_eq!(
            migrate(&mut conn, &all).unwrap(),
            3,
            "and a second time it is a no-op"
        );
        assert_eq!(
            conn.query_row("SELECT b FROM t", [], |row| row.get::<_, i64>(0))
                .unwrap(),
            14
        );
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_it() {
        let mut conn = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE t (a INTEGER)";
        migrate(&mut conn, &[first]).unwrap();
        migrate(&mut conn, &[first, "CREATE TABLE u (a INTEGER); SELECT nonsense"]).unwrap_err();
        assert_eq!(version(&conn).unwrap(), 1);
        let half: u32 = conn
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'u'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(half, 0, "nothing of the failed migration is left");
    }

    #[test]
    fn a_store_of_a_newer_version_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &["SELECT 1", "SELECT 1"]).unwrap();
        assert!(matches!(
            migrate(&mut conn, &["SELECT 1"]),
            Err(StoreError::Newer { found: 2, known: 1 })
        ));
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE cookies (a)").unwrap();
        assert!(matches!(
            migrate(&mut conn, MIGRATIONS),
            Err(StoreError::Corrupt(_))
        ));
    }
}
