-- What later entries have made of an entry, in its own row: null for nearly all. See packages/protocol/src/fold.ts.
SET @add_fold = IF(
	(SELECT COUNT(*) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'entries' AND column_name = 'fold') = 0,
	'ALTER TABLE `entries` ADD COLUMN `fold` mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
	'DO 0');
--> statement-breakpoint
PREPARE add_fold FROM @add_fold;
--> statement-breakpoint
EXECUTE add_fold;
--> statement-breakpoint
DEALLOCATE PREPARE add_fold;
