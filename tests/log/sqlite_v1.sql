-- A file of schema version 1, with one log. Never to be changed: such files exist.
PRAGMA auto_vacuum = FULL;
PRAGMA application_id = 1147239017;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE clock (now REAL NOT NULL, mark REAL NOT NULL, boot TEXT NOT NULL);
INSERT INTO "clock" VALUES(0.0,1000.0,'f907af36-8b90-45ab-b54a-fb7007fe0c01');
CREATE TABLE entry (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            log INTEGER NOT NULL,
            previous INTEGER NOT NULL,
            position INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            writer INTEGER NOT NULL,
            n INTEGER NOT NULL,
            crc32 INTEGER NOT NULL,
            body TEXT NOT NULL
        );
INSERT INTO "entry" VALUES(1,1,0,1,1,1,0,0,'[{"type":"started","generation":"0123456789abcdef0123456789abcdef","model":"m","created":1700000000}]');
INSERT INTO "entry" VALUES(2,1,1,3,1,1,2,1352841281,'[{"type":"text","text":"你","n":1},{"type":"text","text":"好","n":2}]');
INSERT INTO "entry" VALUES(3,1,3,4,1,1,2,1352841281,'[{"type":"done","finish_reason":"stop","n":2,"crc32":1352841281,"ai_generated":true}]');
CREATE TABLE log (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            generation TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            key TEXT,
            fingerprint TEXT NOT NULL,
            model TEXT NOT NULL,
            created INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            retracted INTEGER NOT NULL DEFAULT 0,
            renewed REAL NOT NULL,
            lease REAL NOT NULL,
            ended REAL,
            "end" TEXT
        );
INSERT INTO "log" VALUES(1,'0123456789abcdef0123456789abcdef','owner','k','f','m',1700000000,1,0,1000.0,8.0,0.0,'{"type":"done","finish_reason":"stop","n":2,"crc32":1352841281,"ai_generated":true}');
CREATE UNIQUE INDEX log_of_key ON log (owner, key) WHERE key IS NOT NULL;
CREATE INDEX log_of_owner ON log (owner);
CREATE INDEX log_running ON log (id) WHERE ended IS NULL;
CREATE INDEX log_ended ON log (ended) WHERE ended IS NOT NULL;
CREATE UNIQUE INDEX entry_of_log ON entry (log, position);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('log',1);
INSERT INTO "sqlite_sequence" VALUES('entry',3);
COMMIT;
