-- Rooms, who is in them, who may not come back, and the changes of them that are on their way into their logs.
CREATE TABLE IF NOT EXISTS `rooms` (
	`id` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`name` varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`kind` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`visibility` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`history` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`version` bigint unsigned NOT NULL,
	`member_count` int NOT NULL,
	`created_by` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`created_at` datetime(3) NOT NULL,
	`ends_at` datetime(3),
	`deleted_at` datetime(3),
	CONSTRAINT `rooms_id` PRIMARY KEY(`id`),
	KEY `rooms_visibility` (`visibility`,`deleted_at`,`id`),
	KEY `rooms_ends_at` (`ends_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `room_bans` (
	`room` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`banned_by` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`created_at` datetime(3) NOT NULL,
	CONSTRAINT `room_bans_pk` PRIMARY KEY(`room`,`user`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `outbox` (
	`id` bigint unsigned NOT NULL AUTO_INCREMENT,
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`client_id` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`from_user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`type` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`content` mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`change` mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`created_at` datetime(3) NOT NULL,
	`seq` bigint unsigned,
	`appended_at` datetime(3),
	CONSTRAINT `outbox_id` PRIMARY KEY(`id`),
	CONSTRAINT `outbox_client_id` UNIQUE(`conversation`,`client_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
-- MySQL has no "add if it is not there", so it is asked first.
SET @add_role = IF(
	(SELECT COUNT(*) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'conversation_members' AND column_name = 'role') = 0,
	'ALTER TABLE `conversation_members` ADD COLUMN `role` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT ''member'', ADD COLUMN `muted_until` bigint unsigned NOT NULL DEFAULT 0',
	'DO 0');
--> statement-breakpoint
PREPARE add_role FROM @add_role;
--> statement-breakpoint
EXECUTE add_role;
--> statement-breakpoint
DEALLOCATE PREPARE add_role;
