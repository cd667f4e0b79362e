-- The secret that a webhook had before: for a while it signs beside the new one, so that a receiver can change over.
-- MySQL has no "add if it is not there", so it is asked first. Both columns come together, or neither.
SET @add_old_secret = IF(
	(SELECT COUNT(*) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'webhooks' AND column_name = 'old_secret') = 0,
	'ALTER TABLE `webhooks`
		ADD COLUMN `old_secret` varchar(128) CHARACTER SET ascii COLLATE ascii_bin,
		ADD COLUMN `old_secret_until` datetime(3)',
	'DO 0');
--> statement-breakpoint
PREPARE add_old_secret FROM @add_old_secret;
--> statement-breakpoint
EXECUTE add_old_secret;
--> statement-breakpoint
DEALLOCATE PREPARE add_old_secret;
