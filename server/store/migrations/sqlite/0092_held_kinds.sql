-- Which kinds of users the list had whose removals are held, as a mask; all of them for a list of VDOMs.
ALTER TABLE held ADD COLUMN kinds INTEGER NOT NULL DEFAULT 14;
