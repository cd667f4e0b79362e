-- Until when somebody who has left a room, or was removed, is muted in it: coming back does not end it.
-- MySQL has no "add if it is not there", so it is asked first.
SET @add_muted_until = IF(
	(SELECT COUNT(*) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'left_rooms' AND column_name = 'muted_until') = 0,
	'ALTER TABLE `left_rooms` ADD COLUMN `muted_until` bigint unsigned NOT NULL DEFAULT 0',
	'DO 0');
--> statement-breakpoint
PREPARE add_muted_until FROM @add_muted_until;
--> statement-breakpoint
EXECUTE add_muted_until;
--> statement-breakpoint
DEALLOCATE PREPARE add_muted_until;
