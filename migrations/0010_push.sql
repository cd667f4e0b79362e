-- What a server asked for when it pushed an entry, and from where on a user is shown what is pushed to everyone.
-- MySQL has no "add if it is not there", so it is asked first. Both columns are added without touching the rows.
SET @add_options = IF(
	(SELECT COUNT(*) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'entries' AND column_name = 'options') = 0,
	'ALTER TABLE `entries` ADD COLUMN `options` varchar(255) CHARACTER SET ascii COLLATE ascii_bin',
	'DO 0');
--> statement-breakpoint
PREPARE add_options FROM @add_options;
--> statement-breakpoint
EXECUTE add_options;
--> statement-breakpoint
DEALLOCATE PREPARE add_options;
--> statement-breakpoint
SET @add_start = IF(
	(SELECT COUNT(*) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'users' AND column_name = 'feed_start') = 0,
	'ALTER TABLE `users` ADD COLUMN `feed_start` bigint unsigned NOT NULL DEFAULT 0',
	'DO 0');
--> statement-breakpoint
PREPARE add_start FROM @add_start;
--> statement-breakpoint
EXECUTE add_start;
--> statement-breakpoint
DEALLOCATE PREPARE add_start;
