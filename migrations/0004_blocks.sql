-- Who may not write to whom; and indexes by which those who may not act any more are found.
CREATE TABLE IF NOT EXISTS `blocks` (
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`blocked` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`created_at` datetime(3) NOT NULL,
	CONSTRAINT `blocks_pk` PRIMARY KEY(`user`,`blocked`),
	KEY `blocks_created_at` (`created_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
-- MySQL has no "add if it is not there", so it is asked first.
SET @add_indexes = IF(
	(SELECT COUNT(*) FROM information_schema.statistics
		WHERE table_schema = DATABASE() AND table_name = 'users' AND index_name = 'users_disabled_at') = 0,
	'ALTER TABLE `users` ADD INDEX `users_disabled_at` (`disabled_at`), ADD INDEX `users_deleted_at` (`deleted_at`)',
	'DO 0');
--> statement-breakpoint
PREPARE add_indexes FROM @add_indexes;
--> statement-breakpoint
EXECUTE add_indexes;
--> statement-breakpoint
DEALLOCATE PREPARE add_indexes;
