-- Who speaks for a cluster, and whom its primary lists: serial numbers with blanks between them. Members are rows of device.
ALTER TABLE cluster ADD COLUMN primary_serial TEXT NOT NULL DEFAULT '';
ALTER TABLE cluster ADD COLUMN listed TEXT NOT NULL DEFAULT '';
-- There is exactly one primary, and the cluster names it.
ALTER TABLE device DROP COLUMN member_role;
-- Whether boxes with other keys claim the serial number, and no admin has decided yet.
ALTER TABLE device ADD COLUMN disputed INTEGER NOT NULL DEFAULT 0;
