-- What users have set for their conversations; what one process at a time does; how long rooms keep their entries; the words of messages.
CREATE TABLE IF NOT EXISTS `conversation_flags` (
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`muted_until` bigint unsigned NOT NULL DEFAULT 0,
	`pinned` tinyint unsigned NOT NULL DEFAULT 0,
	`updated_at` datetime(3) NOT NULL,
	CONSTRAINT `conversation_flags_pk` PRIMARY KEY(`user`,`conversation`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `jobs` (
	`name` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`owner` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`fence` bigint unsigned NOT NULL,
	`until` datetime(3) NOT NULL,
	`position` bigint unsigned NOT NULL DEFAULT 0,
	CONSTRAINT `jobs_name` PRIMARY KEY(`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `search_heads` (
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`seq` bigint unsigned NOT NULL,
	CONSTRAINT `search_heads_conversation` PRIMARY KEY(`conversation`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `search_entries` (
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`seq` bigint unsigned NOT NULL,
	`id` bigint unsigned NOT NULL,
	`from_user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`sent_at` bigint unsigned NOT NULL,
	`words` mediumtext CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	CONSTRAINT `search_entries_pk` PRIMARY KEY(`conversation`,`seq`),
	FULLTEXT KEY `search_entries_words` (`words`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
-- MySQL has no "add if it is not there", so it is asked first.
SET @add_retention = IF(
	(SELECT COUNT(*) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'rooms' AND column_name = 'retention_days') = 0,
	'ALTER TABLE `rooms` ADD COLUMN `retention_days` int unsigned NOT NULL DEFAULT 0, ADD INDEX `rooms_retention` (`retention_days`, `id`)',
	'DO 0');
--> statement-breakpoint
PREPARE add_retention FROM @add_retention;
--> statement-breakpoint
EXECUTE add_retention;
--> statement-breakpoint
DEALLOCATE PREPARE add_retention;
