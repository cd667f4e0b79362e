-- MySQL and MariaDB commit each statement by itself, so each can be repeated after a start that was cut short.
CREATE TABLE IF NOT EXISTS `conversation_members` (
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`kind` varchar(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`joined_seq` bigint unsigned NOT NULL DEFAULT 0,
	`created_at` datetime(3) NOT NULL,
	CONSTRAINT `conversation_members_pk` PRIMARY KEY(`user`,`conversation`),
	KEY `conversation_members_conversation` (`conversation`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `cursors` (
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`device` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`seq` bigint unsigned NOT NULL,
	`updated_at` datetime(3) NOT NULL,
	CONSTRAINT `cursors_pk` PRIMARY KEY(`user`,`device`,`conversation`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `devices` (
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`device` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`first_seen` datetime(3) NOT NULL,
	CONSTRAINT `devices_pk` PRIMARY KEY(`user`,`device`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `entries` (
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`seq` bigint unsigned NOT NULL,
	`id` bigint unsigned,
	`n` bigint unsigned NOT NULL,
	`from_user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`type` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`content` mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`client_id` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`sent_at` bigint unsigned NOT NULL,
	`void_to` bigint unsigned,
	`reason` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	CONSTRAINT `entries_pk` PRIMARY KEY(`conversation`,`seq`),
	CONSTRAINT `entries_id` UNIQUE(`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `meta` (
	`name` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`value` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	CONSTRAINT `meta_name` PRIMARY KEY(`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `partition_fences` (
	`group_name` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`partition_no` int NOT NULL,
	`fence` bigint unsigned NOT NULL,
	CONSTRAINT `partition_fences_pk` PRIMARY KEY(`group_name`,`partition_no`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `reads` (
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`seq` bigint unsigned NOT NULL,
	`n` bigint unsigned NOT NULL,
	`updated_at` datetime(3) NOT NULL,
	CONSTRAINT `reads_pk` PRIMARY KEY(`user`,`conversation`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `refresh_tokens` (
	`hash` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`session` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`used_at` datetime(3),
	`expires_at` datetime(3) NOT NULL,
	CONSTRAINT `refresh_tokens_hash` PRIMARY KEY(`hash`),
	KEY `refresh_tokens_session` (`session`,`expires_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `sessions` (
	`id` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`device` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`created_at` datetime(3) NOT NULL,
	`expires_at` datetime(3) NOT NULL,
	`revoked_at` datetime(3),
	CONSTRAINT `sessions_id` PRIMARY KEY(`id`),
	KEY `sessions_user` (`user`),
	KEY `sessions_revoked_at` (`revoked_at`),
	KEY `sessions_expires_at` (`expires_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `users` (
	`id` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`display_name` varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`password_hash` varchar(255) CHARACTER SET ascii COLLATE ascii_bin,
	`created_at` datetime(3) NOT NULL,
	`disabled_at` datetime(3),
	`deleted_at` datetime(3),
	CONSTRAINT `users_id` PRIMARY KEY(`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
